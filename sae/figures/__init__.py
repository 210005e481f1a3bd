"""Plotly figures as pure functions of tables, in light and dark. Knows nobody; imports neither torch nor Streamlit."""
