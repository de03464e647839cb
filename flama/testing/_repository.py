"""The contract of repositories, composed of those of its parts."""

from flama.testing._composite_keys import CompositeKeyContract
from flama.testing._conditions import ConditionContract
from flama.testing._create import CreateContract
from flama.testing._delete import DeleteContract
from flama.testing._field_names import FieldNameContract
from flama.testing._integrity import IntegrityContract
from flama.testing._keyset import KeysetContract
from flama.testing._list import ListContract
from flama.testing._ordering import OrderingContract
from flama.testing._portable import PortableContract
from flama.testing._retrieve import RetrieveContract
from flama.testing._update import UpdateContract
from flama.testing._upsert import UpsertContract
from flama.testing._values import ValueContract

__all__ = ["RepositoryContract"]


class RepositoryContract(
    CreateContract,
    RetrieveContract,
    ListContract,
    UpdateContract,
    DeleteContract,
    IntegrityContract,
    FieldNameContract,
    ValueContract,
    ConditionContract,
    OrderingContract,
    KeysetContract,
    CompositeKeyContract,
    UpsertContract,
    PortableContract,
):
    """Tests that a repository passes, for the capabilities that a subclass declares; other tests are skipped.

    ``capabilities`` is a set of keys of :data:`CAPABILITIES`. The subclass or its conftest has fixtures for the
    repositories, whose collections are empty. Where there are units of work, one is open. Records are dictionaries.

    ``repository``
        Its resource is ``member``, with the fields

        - ``id``, an integer, the key, which the backend generates unless the data has one;
        - ``name``, at most 32 characters, not null, by default ``"unnamed"``;
        - ``email``, at most 64 characters, unique;
        - ``age``, an integer, by default 18, less than 150 by the constraint ``age_is_human``;
        - ``points``, an integer of 32 bits;
        - ``note``, at most 200 characters;
        - with "references", ``club``, the ``id`` of a club, by the constraint ``member_has_club``;
        - with "deferred_references", ``mentor``, the ``id`` of a member, by the constraint ``member_has_mentor``, which
          is checked when the unit ends.
    ``clubs``
        With "references": the resource ``club``, with ``id`` and ``name``, which is not null and has no default. It is
        in the same unit.
    ``seats``
        With "composite_keys": the resource ``seat``, with the key ``row``, at most 8 characters, and ``number``, an
        integer; and ``holder``, at most 32 characters.
    """
