"""The users of the tests' Hub, by the tokens they hold, and what each may do."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Token:
    """Whose token it is, and what it may do: "read", "write", or ("fineGrained") write to `scopes` alone."""

    user: str
    role: Literal["read", "write", "fineGrained"]
    orgs: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()

    def may_read(self, namespace: str) -> bool:
        return namespace in (self.user, *self.orgs)

    def may_write(self, namespace: str) -> bool:
        if self.role == "fineGrained":
            return namespace in self.scopes
        return self.role == "write" and self.may_read(namespace)


ANN, ANN_READS, ANN_FINE, BOB = "hf_annWritesToAll", "hf_annOnlyReads", "hf_annWritesToLab", "hf_bobWritesToHis"
TOKENS = {
    ANN: Token("ann", "write", orgs=("lab",)),
    ANN_READS: Token("ann", "read", orgs=("lab",)),
    ANN_FINE: Token("ann", "fineGrained", orgs=("lab",), scopes=("lab",)),
    BOB: Token("bob", "write"),
}
