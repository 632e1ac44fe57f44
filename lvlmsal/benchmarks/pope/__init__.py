"""POPE: is there such an object in the image?"""
