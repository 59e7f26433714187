"""The stages. One file is one stage."""
