"""Control: "synthetic" transitions that are copies of real ones. It must score like the real data at any real fraction.

Two algorithms are exceptions. ReBRAC's critic uses the data's next action, which a copied row no longer has. 10%-BC
selects the best real episodes, but the copies come from all episodes.
"""
