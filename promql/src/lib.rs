//! PromQL: lexer, parser, spanned syntax tree, printer, and the test-script language.
