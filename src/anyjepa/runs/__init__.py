"""Work with run folders: pretrain, resume, evaluate, embed and predict."""
