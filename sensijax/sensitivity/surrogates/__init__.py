"""Response surfaces: designs, polynomial chaos with and without gradients, Gaussian processes, creases."""
