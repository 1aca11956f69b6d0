//! Tests of the public interface: what parses, what does not and why, what is printed, and the test-script language.

mod invalid;
mod layout;
mod scripts;
mod soup;
mod valid;
