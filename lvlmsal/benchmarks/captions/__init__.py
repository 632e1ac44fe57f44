"""Captions compared with reference captions: CIDEr, BLEU-4 and ROUGE-L."""
