"""A shopping cart."""


def total(lines):
    """What all lines cost together; a line is a price in cents and a quantity."""
    result = 0
    for price, quantity in lines:
        result += price
    return result
