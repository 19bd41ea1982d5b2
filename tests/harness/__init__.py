"""What system tests share: a platform of their own, visitors, and an inventory of the machine."""
