"""The task `shorten`: the same text in fewer words, in one pass. What does not fit the model is refused."""

from functools import partial

from listener.aside import aside
from listener.tasks import answering, budget
from listener.tasks.request import Emit, Model, Request, Result


async def shorten(request: Request, *, model: Model, emit: Emit) -> Result:
    """The text at about the ratio wanted, or the text itself if it is that short. Raises TaskError."""
    target = await aside(request.text, partial(budget.target_of, request))
    if target.reached and request.language is None:
        return await answering.pass_through(request)
    return await answering.answer(request, target, model=model, emit=emit)
