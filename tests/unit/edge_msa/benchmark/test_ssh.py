from __future__ import annotations

import pytest

from edge_msa.benchmark.remote import remote_config
from edge_msa.benchmark.ssh import RemoteError, SshHost
from edge_msa.errors import UsageError


@pytest.mark.parametrize("address", ["", "-oProxyCommand=true", "user@device extra"])
def test_wrong_addresses_are_rejected(address: str) -> None:
    with pytest.raises(UsageError, match="--host must be user@device"):
        SshHost(address)


def test_options_must_have_a_value() -> None:
    with pytest.raises(UsageError, match="--ssh-option must be NAME=VALUE"):
        SshHost("user@device", ("Port",))


def test_the_command_to_reach_a_device_is_quoted() -> None:
    assert SshHost("user@device", ("ProxyCommand=nc %h 22",)).command == "ssh -o 'ProxyCommand=nc %h 22' user@device"


@pytest.mark.parametrize(("code", "exit_code"), [(1, 1), (2, 2), (3, 3), (4, 4), (127, 1), (137, 1)])
def test_remote_exit_codes_are_kept_if_edge_msa_uses_them(code: int, exit_code: int) -> None:
    assert RemoteError("failed", code).exit_code == exit_code


def test_a_remote_needs_an_address() -> None:
    assert remote_config(None, (), "python3", keep=False, offline=False) is None
    with pytest.raises(UsageError, match="need --host"):
        remote_config(None, (), "python3", keep=True, offline=False)
    remote = remote_config("user@device", ("Port=2222",), "python3.10", keep=True, offline=True)
    assert remote is not None
    assert (remote.host, remote.keep, remote.offline) == (
        SshHost("user@device", ("Port=2222",), "python3.10"),
        True,
        True,
    )


def test_ssh_must_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_msa.errors import BackendUnavailableError

    monkeypatch.setenv("PATH", "")
    with pytest.raises(BackendUnavailableError, match="ssh is not installed"):
        SshHost("user@device").run("true", "testing")
