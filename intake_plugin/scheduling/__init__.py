"""When a patient can come: opening hours, free intervals, slots, series. Pure.

`hours` turns a week of opening hours into instants, `slots` sweeps them with claims and clinical
dates into the times a patient can choose, `series` proposes the further sessions of a course, and
`claims` names what a chosen slot takes from its resources.
"""
