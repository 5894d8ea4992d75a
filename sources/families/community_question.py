"""Questions of community sites: a title, and a description that may only say the title again."""


def question_text(title: str | None, description: str | None, with_description: bool) -> str | None:
    """The question as one text: the title, then the description where it is asked for and says more."""
    title = (title or "").strip()
    description = (description or "").strip() if with_description else ""
    if not description or description == title:
        return title
    return description if description.startswith(title) else f"{title} {description}"
