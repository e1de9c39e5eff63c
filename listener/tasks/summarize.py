"""The task `summarize`: the whole in a few words, in one pass. What does not fit the model is refused."""

from functools import partial

from listener.aside import aside
from listener.tasks import answering, budget
from listener.tasks.request import Emit, Model, Request, Result


async def summarize(request: Request, *, model: Model, emit: Emit) -> Result:
    """A summary of about the words wanted, or the text itself if it is no longer. Raises TaskError."""
    target = await aside(request.text, partial(budget.target_of, request))
    if target.reached and request.style != "bullets" and request.language is None:
        return await answering.pass_through(request)
    return await answering.answer(request, target, model=model, emit=emit)
