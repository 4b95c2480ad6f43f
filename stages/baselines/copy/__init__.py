"""Control: "synthetic" transitions that are real ones, drawn again. Must score as the real data do, whatever their
share.
"""
