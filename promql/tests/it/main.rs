//! Tests of the public interface: what parses, what does not and why, what is printed, and the test-script language.

mod invalid;
mod scripts;
mod valid;
