"""What pages share. Imports Streamlit, and neither torch nor transformers."""
