"""Published sets of images: CIFAR, MNIST, and those of the Hugging Face hub."""
