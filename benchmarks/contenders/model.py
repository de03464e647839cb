"""What every contender serves."""

import pydantic

__all__ = ["GREETING", "User"]

GREETING = {"message": "Hello, world!"}


class User(pydantic.BaseModel):
    """The six fields of a POST."""

    id: str | None = None
    name: str
    surname: str
    email: str
    password: str
    active: bool = False
