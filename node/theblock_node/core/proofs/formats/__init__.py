"""The files and documents of the circom family: read strictly, written as snarkjs reads them."""
