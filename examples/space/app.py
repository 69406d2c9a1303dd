"""Space that shows a published copy of Kinetics: set KINETICS_SOURCE to USER/NAME of its repository."""

import os

from kinetics_tools.viewing import read_clips
from kinetics_tools.viewing.app import serve
from kinetics_tools.viewing.viewer import Viewer

clips = read_clips(os.environ["KINETICS_SOURCE"])
serve(Viewer(clips), host="0.0.0.0", port=int(os.environ.get("GRADIO_SERVER_PORT", "7860"))).block_thread()
