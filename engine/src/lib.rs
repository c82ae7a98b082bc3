//! puntd as a library.
