"""Video: files read by PyAV, arrays, Moving-MNIST, and an embedded set that needs no download."""
