"""The task `shorten`: the same text in fewer words, in one pass. What does not fit the model is refused."""

from listener.offload.pool import Offload
from listener.tasks import answering, budget
from listener.tasks.measuring import measure_source
from listener.tasks.request import ChatModel, Emit, Request, Result


async def shorten(request: Request, *, model: ChatModel, emit: Emit, offload: Offload) -> Result:
    """The text at about the ratio wanted, or the text itself if it is that short. Raises TaskError
    and OffloadError."""
    source = await offload(measure_source, request.text)
    target = budget.target_of(request, source.words)
    if target.reached and request.language is None:
        return await answering.pass_through(request, offload)
    work = answering.Answering(request, source, target, model, offload)
    return await answering.answer(work, emit)
