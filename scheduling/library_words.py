"""What libraries say against values, always in English, as sentences in the language of their reader."""

from typing import Final

from django.utils.translation import gettext_noop

from access.sentences import recognised

_MESSAGES: Final = (
    # msgspec's, of which the place comes last
    gettext_noop("%(rest)s - at `key` in `%(place)s`"),
    gettext_noop("%(rest)s - at `%(place)s`"),
    gettext_noop("Expected `%(expected)s`, got `%(found)s`"),
    gettext_noop("Expected `%(expected)s` of length >= %(least)s"),
    gettext_noop("Expected `%(expected)s` of length <= %(most)s"),
    gettext_noop("Expected `%(expected)s` >= %(least)s"),
    gettext_noop("Expected `%(expected)s` <= %(most)s"),
    gettext_noop("Object contains unknown field `%(field)s`"),
    # those of jsonschema-rs
    gettext_noop("%(value)s is not of type %(type)s"),
    gettext_noop("%(value)s is not of types %(types)s"),
    gettext_noop("%(value)s is not one of %(values)s"),
    gettext_noop("%(value)s was expected"),
    gettext_noop("%(value)s is not a multiple of %(step)s"),
    gettext_noop("%(value)s is not a %(format)s"),
    gettext_noop("%(value)s does not match %(pattern)s"),
    gettext_noop("%(value)s is shorter than 1 character"),
    gettext_noop("%(value)s is shorter than %(least)s characters"),
    gettext_noop("%(value)s is longer than 1 character"),
    gettext_noop("%(value)s is longer than %(most)s characters"),
    gettext_noop("%(value)s is less than the minimum of %(least)s"),
    gettext_noop("%(value)s is greater than the maximum of %(most)s"),
    gettext_noop("%(value)s is less than or equal to the minimum of %(least)s"),
    gettext_noop("%(value)s is greater than or equal to the maximum of %(most)s"),
    gettext_noop("%(name)s is a required property"),
    gettext_noop("%(value)s has less than 1 property"),
    gettext_noop("%(value)s has less than %(least)s properties"),
    gettext_noop("%(value)s has more than 1 property"),
    gettext_noop("%(value)s has more than %(most)s properties"),
    gettext_noop("%(value)s has less than 1 item"),
    gettext_noop("%(value)s has less than %(least)s items"),
    gettext_noop("%(value)s has more than 1 item"),
    gettext_noop("%(value)s has more than %(most)s items"),
    gettext_noop("%(value)s has non-unique elements"),
    gettext_noop("%(value)s is not valid under any of the schemas listed in the '%(keyword)s' keyword"),
    gettext_noop("%(value)s is valid under more than one of the schemas listed in the '%(keyword)s' keyword"),
    gettext_noop("%(schema)s is not allowed for %(value)s"),
    gettext_noop("False schema does not allow %(value)s"),
    gettext_noop("Unknown format: %(format)s. Adjust configuration to ignore unrecognized formats"),
    # those of JSON's parser, and of ours around it
    gettext_noop("Expecting value"),
    gettext_noop("Expecting ',' delimiter"),
    gettext_noop("Expecting ':' delimiter"),
    gettext_noop("Expecting property name enclosed in double quotes"),
    gettext_noop("Illegal trailing comma before end of object"),
    gettext_noop("Illegal trailing comma before end of array"),
    gettext_noop("Unterminated string starting at"),
    gettext_noop("Invalid control character at"),
    gettext_noop("Invalid \\escape"),
    gettext_noop("Invalid \\uXXXX escape"),
    gettext_noop("Extra data"),
    gettext_noop("nested deeper than %(most)s"),
    gettext_noop("duplicate key %(key)s"),
    gettext_noop("%(name)s is not JSON"),
    gettext_noop("number out of range: %(number)s"),
    gettext_noop("a string holds the character NUL"),
    gettext_noop("a string holds a lone surrogate"),
)


def library_words(text: str) -> str:
    """Return what a library said; what is not known stays as it is."""
    return recognised(text, _MESSAGES)
