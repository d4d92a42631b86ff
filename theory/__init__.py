"""Theory: what random weights do on average, by closed recursions and exact integrals."""
