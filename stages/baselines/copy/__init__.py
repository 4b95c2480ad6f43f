"""Control: "synthetic" transitions that are real ones, drawn again. Must score as the real data do, whatever their
share.

But for ReBRAC, whose critic asks for the data's next action, which a copied row has lost, and for 10%-BC, since the
copy is of all episodes.
"""
