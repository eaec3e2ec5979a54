# The public names of this room, each once; loaded when first used.
from .asking import moments as moments, question as question, questions as questions
from .simulating import Job as Job, simulate as simulate
