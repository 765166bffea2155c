"""What the doctor says, asked within a test."""

from hetuflow.doctor import examination
from hetuflow.doctor.report import Level


def lines(*groups):
    report = examination.examine(only=groups)
    assert all(line.remedy for line in report.lines if line.level != Level.OK)
    return report.lines


def not_fine(*groups):
    return [line for line in lines(*groups) if line.level != Level.OK]


def the_line(group):
    (line,) = not_fine(group)
    return line
