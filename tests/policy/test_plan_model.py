"""Plans carried out in a model of the world: whatever happens, and wherever a pass is cut off.

The model is what a pass writes, one write after the other: the ledger, Secrets, and the status. Any
pass may end between two of them, as a crash would have it. Left alone, passes come to rest after a
few, and then the promises hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agentid.api.agentidentity import AgentIdentityStatus
from agentid.api.vocabulary import DeliveryMode
from agentid.constants import FINALIZER
from agentid.identity import RevocationReason
from agentid.policy import Granted, exceeds, takes_away
from agentid.policy.observed import Held, Observed
from agentid.policy.plan import Plan, Standing, plan
from agentid.policy.report import after_plan
from tests.support.observed import (
    BLOCKED,
    GRACE,
    HOLD,
    HOUR,
    NOW,
    SECOND,
    SECRET,
    Wish,
    certificate,
    held,
    observe,
    status,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MODES = (DeliveryMode.SECRET, DeliveryMode.POD_CERTIFICATE)

FEW = 6
"""Passes until nothing is left to do: a new certificate, its status, then what it replaced."""


@dataclass
class World:
    """What passes read and write, with what happened to each certificate.

    Attributes:
        wish: The object, None if there is none.
        allows: The level that the class goes up to, None if there is no class.
        told: The status.
        issued: Everything on the ledger, oldest first.
        revoked: Serials that are revoked, and why.
        secrets: The certificate in each Secret.
        confirmed: Everything that ever stood in the status, oldest first.
        pods: UIDs of pods that run.
        gone: UIDs of pods that are gone.
    """

    now: datetime = NOW
    wish: Wish | None = field(default_factory=lambda: Wish(finalizers=()))
    allows: int | None = 3
    held: bool = False
    told: AgentIdentityStatus = field(default_factory=AgentIdentityStatus)
    issued: list[Held] = field(default_factory=list)
    revoked: dict[Held, RevocationReason] = field(default_factory=dict)
    secrets: dict[str, Held] = field(default_factory=dict)
    confirmed: list[Held] = field(default_factory=list)
    pods: list[str] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)

    @property
    def live(self) -> list[Held]:
        """On record, neither revoked nor expired, newest first."""
        return [
            each
            for each in reversed(self.issued)
            if each not in self.revoked and each.validity.not_after >= self.now
        ]

    def see(self) -> Observed:
        """Gather: what is not revoked, newest first."""
        unrevoked = tuple(each for each in reversed(self.issued) if each not in self.revoked)
        if self.wish is None:
            return Observed(None, None, AgentIdentityStatus(), unrevoked)
        return observe(
            *unrevoked,
            told=self.told,
            wish=self.wish,
            allows=self.allows or 0,
            blocked=BLOCKED if self.allows is None else None,
            hold=HOLD if self.held else None,
            gone=frozenset(self.gone),
        )

    def writes(  # noqa: C901 - one write after the other, as they are
        self, seen: Observed, todo: Plan
    ) -> Iterator[Callable[[], None]]:
        """The writes of a pass, in the order of `services.identities`."""
        if todo.revoke:
            yield lambda: self.revoked.update(todo.revoke)
        if seen.metadata is None or self.wish is None:
            return
        wish, withdrawn = self.wish, todo.withdraw
        if todo.issue is not None and isinstance(seen.verdict, Granted):
            if todo.add_finalizer:
                yield lambda: self.hold(FINALIZER)
            made = replace(
                held(len(self.issued) + 1, age=NOW - self.now, wish=wish), replaces=todo.replaces
            )
            yield lambda: self.issued.append(made)
            if withdrawn is not None:
                yield lambda: self.empty(withdrawn)
            yield lambda: self.deliver(wish.secret_name, made)
            told = status(made, secret_name=wish.secret_name).model_copy(
                update={"withdrawal_time": seen.status.withdrawal_time, "pods": seen.status.pods}
            )
            yield lambda: self.confirm(told, made)
            return
        if todo.add_finalizer:
            yield lambda: self.hold(FINALIZER)
        if withdrawn is not None:
            yield lambda: self.empty(withdrawn)
        if todo.standing is Standing.DELETING:
            if todo.release:
                yield self.release
            return
        current = None if todo.current is None else certificate(todo.current)
        told = after_plan(seen, todo, current, self.now)
        if told != self.told:
            yield lambda: self.confirm(told)

    def hold(self, holder: str) -> None:
        """Put a finalizer on."""
        if self.wish is not None:
            self.wish = replace(self.wish, finalizers=(*self.wish.finalizers, holder))

    def release(self) -> None:
        """Take ours off; the object goes, and its Secrets with it."""
        self.wish, self.told = None, AgentIdentityStatus()
        self.secrets.clear()

    def empty(self, name: str) -> None:
        """Take a certificate out of a Secret."""
        self.secrets.pop(name, None)

    def deliver(self, name: str, made: Held) -> None:
        """Put a certificate into a Secret."""
        assert made in self.issued, "Promise 3: on record before in use"
        self.secrets[name] = made

    def confirm(self, told: AgentIdentityStatus, made: Held | None = None) -> None:
        """Write the status."""
        self.told = told
        if made is not None:
            self.confirmed.append(made)

    def damage(self) -> None:
        """Make the newest record doubtful, wherever it is spoken of."""
        if not self.issued or self.issued[-1] in self.revoked:
            return
        sound = self.issued[-1]
        doubtful = self.issued[-1] = replace(sound, doubtful=True)
        self.secrets = {
            name: doubtful if each == sound else each for name, each in self.secrets.items()
        }
        self.confirmed = [doubtful if each == sound else each for each in self.confirmed]

    def look(self, writes: int | None = None) -> Plan:
        """One pass, cut off after so many writes.

        Promise 5 is checked after each of them: while the identity is granted, its Secret never
        loses a certificate that is good, and what is in it is not revoked.
        """
        seen = self.see()
        todo = plan(seen, self.now)
        self.check_replaced(seen, todo)
        granted = isinstance(seen.verdict, Granted) and self.wish is not None
        name = SECRET if self.wish is None else self.wish.secret_name
        before = self.secrets.get(name)
        by_secret = self.wish is not None and self.wish.mode is DeliveryMode.SECRET
        good = granted and by_secret and before in self.live
        for number, write in enumerate(self.writes(seen, todo)):
            if number == writes:
                break
            write()
            assert not good or self.secrets.get(name) in self.live, f"lost {before} by {todo}"
        return todo

    def check_replaced(self, seen: Observed, todo: Plan) -> None:
        """Promise 5: what was delivered and then only renewed is not revoked."""
        for each, reason in todo.revoke:
            if reason is not RevocationReason.SUPERSEDED or each.doubtful:
                continue
            if each not in self.confirmed or each.grant is None:
                continue
            if self.wish is not None and self.wish.mode is not DeliveryMode.SECRET:
                continue  # the Secret is over, and so is what lay in it
            assert isinstance(seen.verdict, Granted)
            following = self.confirmed[self.confirmed.index(each) + 1]
            # Its follower is the evidence that it was delivered.
            assert following in self.revoked or takes_away(
                each.grant, seen.verdict.grant, self.now
            ), f"{each} was only renewed"

    def rest(self) -> Plan:
        """Passes until nothing is left to do at this moment."""
        for _ in range(FEW):
            before = (self.wish, self.told, len(self.issued), len(self.revoked))
            todo = self.look()
            if (self.wish, self.told, len(self.issued), len(self.revoked)) == before:
                assert not todo.acts, f"it goes on and on with {todo}"
                return todo
        message = f"no rest after {FEW} passes"
        raise AssertionError(message)


cuts = st.lists(st.none() | st.integers(0, 5), max_size=3)
"""After how many writes each of the next passes is cut off, if it is."""

rests = st.none() | st.integers(0, 3)
"""Whether passes come to rest then, and where the first one after the grace period is cut off."""


def there(machine: Passes) -> bool:
    """Whether there is an object, which nobody has deleted."""
    return machine.world.wish is not None and not machine.world.wish.deleting


class Passes(RuleBasedStateMachine):
    """What users, platform and time do, each followed by passes that may be cut off anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.objects = 1

    @initialize(level=st.integers(1, 3), cut_after=cuts)
    def apply(self, level: int, cut_after: list[int | None]) -> None:
        """The team applies its object, and is given a certificate."""
        self.change(level=level)
        self.passes([*cut_after, None], rest=None)

    def change(self, **changes: Any) -> None:  # noqa: ANN401 - any field
        """Change the object."""
        assert self.world.wish is not None
        self.world.wish = replace(self.world.wish, **changes)

    def passes(self, cut_after: list[int | None], *, rest: int | None) -> None:
        """Passes, and then a while for more of them, or none."""
        for writes in cut_after:
            self.world.look(writes)
        if rest is not None:
            self.left_alone(rest)

    @precondition(there)
    @rule(level=st.integers(1, 3), cut_after=cuts, rest=rests)
    def edit_permissions(
        self, *, level: int, cut_after: list[int | None], rest: int | None
    ) -> None:
        """The team asks for more or for less."""
        self.change(level=level)
        self.passes(cut_after, rest=rest)

    @precondition(there)
    @rule(name=st.sampled_from([SECRET, "other"]), cut_after=cuts, rest=rests)
    def edit_delivery(self, *, name: str, cut_after: list[int | None], rest: int | None) -> None:
        """The team names another Secret."""
        self.change(secret_name=name)
        self.passes(cut_after, rest=rest)

    @precondition(there)
    @rule(mode=st.sampled_from(MODES), cut_after=cuts, rest=rests)
    def edit_mode(
        self, *, mode: DeliveryMode, cut_after: list[int | None], rest: int | None
    ) -> None:
        """The team has pods get certificates of their own, or the Secret again."""
        self.change(mode=mode)
        self.passes(cut_after, rest=rest)

    @precondition(there)
    @rule(cut_after=cuts, rest=rests)
    def a_pod_starts(self, *, cut_after: list[int | None], rest: int | None) -> None:
        """A replica gives it a certificate, by what it knows, which may be old by now."""
        self.world.pods.append(f"pod-{len(self.world.pods)}-{len(self.world.gone)}")
        self.a_kubelet_renews(number=-1, level=None, cut_after=cut_after, rest=rest)

    @precondition(lambda self: there(self) and (self.world.pods or self.world.gone))
    @rule(
        number=st.integers(0, 3),
        level=st.none() | st.integers(1, 3),
        cut_after=cuts,
        rest=rests,
    )
    def a_kubelet_renews(
        self, *, number: int, level: int | None, cut_after: list[int | None], rest: int | None
    ) -> None:
        """A certificate comes for a pod, maybe one that is gone, maybe under an old grant."""
        world = self.world
        known = [*world.pods, *sorted(world.gone)]
        assert world.wish is not None
        if FINALIZER not in world.wish.finalizers:
            return
        wish = replace(world.wish, mode=DeliveryMode.POD_CERTIFICATE)
        if level is not None:
            wish = replace(wish, level=level)
        pod = world.pods[-1] if number < 0 else known[number % len(known)]
        age = NOW - world.now
        world.issued.append(held(len(world.issued) + 1, age=age, wish=wish, pod=pod))
        self.passes(cut_after, rest=rest)

    @precondition(lambda self: self.world.pods)
    @rule(number=st.integers(0, 3), cut_after=cuts, rest=rests)
    def a_pod_goes(self, *, number: int, cut_after: list[int | None], rest: int | None) -> None:
        """Its certificates have nobody to use them."""
        pods = self.world.pods
        self.world.gone.add(pods.pop(number % len(pods)))
        self.passes(cut_after, rest=rest)

    @precondition(there)
    @rule(name=st.sampled_from(["a@example.com", "b@example.com"]), cut_after=cuts)
    def edit_sponsor(self, name: str, cut_after: list[int | None]) -> None:
        """Somebody else answers for the agent."""
        self.change(sponsor=name)
        self.passes(cut_after, rest=None)

    @precondition(there)
    @rule(suspend=st.booleans(), cut_after=cuts, rest=rests)
    def suspend(self, *, suspend: bool, cut_after: list[int | None], rest: int | None) -> None:
        """The team suspends its agent, or has it go on."""
        self.change(suspend=suspend)
        self.passes(cut_after, rest=rest)

    @rule(holds=st.booleans(), cut_after=cuts, rest=rests)
    def hold_back(self, *, holds: bool, cut_after: list[int | None], rest: int | None) -> None:
        """Security holds the identity in an incident, or releases it."""
        self.world.held = holds
        self.passes(cut_after, rest=rest)

    @precondition(there)
    @rule(ahead=st.sampled_from([timedelta(0), HOUR]), cut_after=cuts)
    def ask_for_a_renewal(self, ahead: timedelta, cut_after: list[int | None]) -> None:
        """Somebody annotates the object."""
        self.change(requested=self.world.now + ahead)
        self.passes(cut_after, rest=None)

    @precondition(there)
    @rule(cut_after=cuts, rest=rests)
    def delete(self, *, cut_after: list[int | None], rest: int | None) -> None:
        """The team deletes the object, which goes at once if nobody holds it."""
        wish = self.world.wish
        if wish is None or not wish.finalizers:
            self.world.release()
        else:
            self.change(deleting=True)
        self.passes(cut_after, rest=rest)

    @rule(again=st.booleans(), cut_after=cuts, rest=rests)
    def force_off(self, *, again: bool, cut_after: list[int | None], rest: int | None) -> None:
        """The object goes with its finalizer taken off by hand; maybe a namesake comes."""
        self.world.release()
        if again:
            self.apply_again(cut_after=cut_after, rest=rest)
        else:
            self.passes(cut_after, rest=rest)

    @precondition(lambda self: self.world.wish is None)
    @rule(cut_after=cuts, rest=rests)
    def apply_again(self, *, cut_after: list[int | None], rest: int | None) -> None:
        """The team applies an object of the same name."""
        self.objects += 1
        self.world.wish = Wish(finalizers=(), uid=f"uid-{self.objects}")
        self.passes(cut_after, rest=rest)

    @rule(level=st.sampled_from([3, 2, 1, 0, None]), cut_after=cuts, rest=rests)
    def edit_class(
        self, *, level: int | None, cut_after: list[int | None], rest: int | None
    ) -> None:
        """The platform changes the class, or deletes it."""
        self.world.allows = level
        self.passes(cut_after, rest=rest)

    @rule(
        passed=st.sampled_from([SECOND, GRACE / 2, GRACE, HOUR, 10 * HOUR, 30 * HOUR]),
        cut_after=cuts,
    )
    def wait(self, passed: timedelta, cut_after: list[int | None]) -> None:
        """Time goes by, and nobody looks meanwhile."""
        self.world.now += passed
        self.passes(cut_after, rest=None)

    @rule(cut_after=cuts)
    def damage(self, cut_after: list[int | None]) -> None:
        """The segment of the newest record loses its seal."""
        self.world.damage()
        self.passes(cut_after, rest=None)

    def teardown(self) -> None:
        """In the end it is left alone."""
        self.left_alone(0)

    def left_alone(self, writes: int) -> None:
        """Passes come to rest; after the grace period they do again, and the promises hold."""
        world = self.world
        world.rest()
        world.now += GRACE
        world.look(writes)
        todo = world.rest()
        self.check_revoked(todo)
        if todo.standing is Standing.GRANTED:
            self.check_pods()
            assert world.wish is not None
            if world.wish.mode is DeliveryMode.SECRET:
                self.check_in_use(todo)
            else:
                self.check_by_pods()

    def check_revoked(self, todo: Plan) -> None:
        """Promise 4: nothing is good that must not be."""
        world = self.world
        own = [each for each in world.live if world.wish and each.uid == world.wish.uid]
        unrevoked = [each for each in world.issued if each not in world.revoked]
        assert [each for each in world.live if each not in own] == []
        ends = {Standing.GONE, Standing.DELETING, Standing.SUSPENDED, Standing.HELD}
        pods = [each.pod.uid for each in world.live if each.pod is not None]
        assert not world.gone.intersection(pods), "a pod is gone, and its certificate is good"
        if todo.standing in ends:
            assert unrevoked == []
            assert world.told.certificate is None
        elif todo.standing is Standing.REFUSED:
            agent_class = world.see().agent_class
            assert agent_class is not None
            for each in own:
                assert each.grant is not None
                assert not exceeds(each.grant, agent_class, world.now)
        if todo.standing is not Standing.REFUSED or not own:
            # What no status ever told may lie in a Secret, revoked: nobody knows in which.
            left = [each for each in world.secrets.values() if each in world.confirmed]
            assert not [each for each in left if each in world.revoked]

    def check_pods(self) -> None:
        """Pods hold nothing that gives more than is granted, and the status counts them."""
        world = self.world
        verdict = world.see().verdict
        assert isinstance(verdict, Granted)
        held_by: set[str] = set()
        for each in world.live:
            if each.pod is not None:
                assert each.grant is not None
                assert not takes_away(each.grant, verdict.grant, world.now), f"{each} gives more"
                held_by.add(each.pod.uid)
        assert world.told.withdrawal_time is None
        assert (world.told.pods.certificates if world.told.pods else 0) == len(held_by)

    def check_by_pods(self) -> None:
        """Nothing lies in a Secret that the status ever told of, and only pods hold anything."""
        world = self.world
        assert world.told.certificate is None
        assert world.told.delivery is None
        assert world.told.pod_certificate is not None
        assert [each for each in world.live if each.pod is None] == []
        assert [each for each in world.secrets.values() if each in world.confirmed] == []
        assert world.wish is not None
        assert FINALIZER in world.wish.finalizers

    def check_in_use(self, todo: Plan) -> None:
        """One certificate is in use, on record, delivered and told; others may only run out."""
        world, current = self.world, todo.current
        assert world.wish is not None
        assert current is not None
        assert world.secrets[world.wish.secret_name] == current
        assert world.told.certificate is not None
        assert world.told.certificate.serial == str(current.serial)
        assert not current.doubtful
        assert FINALIZER in world.wish.finalizers
        for each in world.live:
            if each == current or each.pod is not None:
                continue
            assert each in world.confirmed, f"{each} was never delivered, and is good"
            assert not each.doubtful
            assert each.grant is not None
            assert current.grant is not None
            assert not takes_away(each.grant, current.grant, world.now), f"{each} gives more"

    @invariant()
    def nothing_comes_back(self) -> None:
        """Serials are used once, and the status tells of nothing that was never delivered."""
        told = self.world.told.certificate
        serials = [str(each.serial) for each in self.world.issued]
        assert len(set(serials)) == len(serials)
        assert told is None or told.serial in serials


TestPasses = Passes.TestCase
TestPasses.settings = settings(max_examples=500, stateful_step_count=12, deadline=None)
