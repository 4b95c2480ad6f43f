"""The report's figures, drawn by matplotlib and seaborn as PNG and SVG."""
