"""`edge-msa-run verify`: check a bundle's files and golden predictions on this device."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from edge_msa_runtime.cli.common import (
    add_all_option,
    add_bundle_or_pretrained,
    add_command,
    add_session_options,
    open_session,
    print_result,
    print_skipped,
    select_variants,
)

if TYPE_CHECKING:
    from edge_msa_runtime.verification import Verification


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "verify",
        "Check the signature and the digest of every file, and compare predictions on this device with the golden "
        "predictions.",
        "verify bundle-laptop --all",
    )
    add_bundle_or_pretrained(parser)
    add_all_option(parser)
    add_session_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from edge_msa_runtime.verification import verify_all, verify_bundle

    if options.all:
        variants = select_variants(options, options.bundle)
        verifications = verify_all(variants)
        print_skipped(variants)
    else:
        with open_session(options, options.bundle) as session:
            verifications = tuple(map(verify_bundle, session.members))
    signature = options.signature
    signed = None if signature is None else signature.to_json()
    values = [{**verification.to_json(), "signature": signed} for verification in verifications]
    lines = [line for verification in verifications for line in format_verification(verification)]
    if all(verification.passed for verification in verifications):
        lines.append(str(signature) if signature is not None else _describe_unverified(options.bundle))
    print_result(lines, values if options.all or len(values) > 1 else values[0], options)
    for verification in verifications:
        verification.raise_if_failed()


def format_verification(verification: Verification) -> list[str]:
    """Format a verification as one line per check, and a summary."""
    lines = [f"{'subset':7}{'route':9}{'difference':>12}{'tolerance':>12}"]
    for check in verification.checks:
        mark = "" if check.passed else "  FAILED"
        lines.append(f"{check.subset:7}{check.route:9}{check.difference:12.2e}{check.tolerance:12.2e}{mark}")
    passed = sum(check.passed for check in verification.checks)
    executed = f"{verification.backend} on {verification.device} at {verification.precision}"
    lines.append(
        f"{passed} of {len(verification.checks)} golden predictions match with {executed}; "
        f"largest difference {verification.largest.difference:.2e}."
    )
    return lines


def _describe_unverified(bundle: str) -> str:
    from edge_msa_runtime.bundle.signature import read_release

    state = "It is not signed" if read_release(bundle) is None else "Its signature was not verified (--trusted-keys)"
    return f"The bundle is consistent with its own manifest. {state}: this does not show who made it."
