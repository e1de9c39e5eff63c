"""The task `summarize`: the whole in a few words, in one pass. What does not fit the model is refused."""

from listener.offload.pool import Offload
from listener.tasks import answering, budget
from listener.tasks.measuring import measure_source
from listener.tasks.request import ChatModel, Emit, Request, Result


async def summarize(request: Request, *, model: ChatModel, emit: Emit, offload: Offload) -> Result:
    """A summary of about the words wanted, or the text itself if it is no longer. Raises TaskError
    and OffloadError."""
    source = await offload(measure_source, request.text)
    target = budget.target_of(request, source.words)
    if target.reached and request.style != "bullets" and request.language is None:
        return await answering.pass_through(request, offload)
    work = answering.Answering(request, source, target, model, offload)
    return await answering.answer(work, emit)
