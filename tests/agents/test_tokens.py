"""Bearer tokens of agents."""

from agents.models import Agent
from agents.services import authenticate, issue_token, revoke_token


def test_a_revoked_token_is_refused_and_its_row_stays(agent: Agent) -> None:
    kept, ended = issue_token(agent), issue_token(agent)
    token = agent.tokens.get(last_four=ended[-4:])
    assert revoke_token(token)
    assert authenticate(ended) is None
    assert authenticate(kept) is not None
    assert agent.tokens.count() == 2


def test_revoking_twice_changes_nothing_the_second_time(agent: Agent) -> None:
    issue_token(agent)
    token = agent.tokens.get()
    assert revoke_token(token)
    token.refresh_from_db()
    ended = token.not_after
    assert not revoke_token(token)
    token.refresh_from_db()
    assert token.not_after == ended
