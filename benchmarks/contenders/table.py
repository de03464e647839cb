"""The table of users, for contenders that take SQLAlchemy's tables."""

import sqlalchemy as sa

__all__ = ["user_columns"]


def user_columns() -> list[sa.Column]:
    """Give its columns, which belong to no table yet."""
    return [
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("surname", sa.String, nullable=False),
        sa.Column("email", sa.String, nullable=False, unique=True),
        sa.Column("password", sa.String, nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
    ]
