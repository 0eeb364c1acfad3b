"""What a person looks at after a run: figures and the HTML page."""
