//! The punt library of puntd.
