"""Images: CIFAR, MNIST, folders of images, sets of the Hugging Face hub, and an embedded set that needs no download."""
