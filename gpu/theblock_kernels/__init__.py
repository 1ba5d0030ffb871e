"""What Python cannot do fast, as a library of the host: the arithmetic of BN254 and proofs of Groth16 over it.

Every function has an exact twin in `theblock_node.core`, which is the definition and stands in where there is no
library. Nothing here imports anything of the project.
"""
