"""The explorer: follows the chain, keeps what people look for in SQL, shows it as pages and JSON."""
