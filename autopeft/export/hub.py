"""An exported folder on the Hugging Face hub, by the user's own token.

The token is huggingface_hub's to find (`hf auth login` or HF_TOKEN): it never passes through here,
and no message holds it.
"""

from pathlib import Path
from typing import Any

from autopeft.domain.errors import ExportError


def push(folder: Path, repository: str, *, public: bool = False, api: Any = None) -> str:
    """Upload a folder as a model; returns the address of the repository.

    Args:
        repository: `name` or `owner/name`; made where it is not there, private unless `public`.
        api: a HfApi; None: the user's own.

    Raises:
        ExportError: there is no token, it may not write there, or the hub is out of reach.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        HfHubHTTPError,
        HFValidationError,
        HTTPError,  # of the client beneath
        LocalTokenNotFoundError,
    )

    api = api or HfApi(library_name="autopeft")
    try:
        made = api.create_repo(repository, private=not public, exist_ok=True)
        api.upload_folder(
            repo_id=made.repo_id,
            folder_path=str(folder),
            commit_message="Adapter exported by autopeft",
        )
    except LocalTokenNotFoundError as error:
        raise ExportError(
            "--push-to-hub needs your token of the hub, got none: `hf auth login`, or HF_TOKEN"
        ) from error
    except HFValidationError as error:
        raise ExportError(
            f"--push-to-hub takes NAME or OWNER/NAME, got {repository!r}: name it so"
        ) from error
    except HfHubHTTPError as error:
        code = error.response.status_code
        raise ExportError(
            f"the hub did not take {repository!r} (HTTP {code}); what was exported lies in "
            f"{folder}: check the name and what your token may write, and push again"
        ) from error
    except (HTTPError, OSError) as error:
        raise ExportError(
            f"the hub is out of reach ({type(error).__name__}); what was exported lies in {folder}"
        ) from error
    return str(made)
