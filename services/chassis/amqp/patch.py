"""Importing this makes the process green: the first thing a worker does, before any other import.

The MongoClient must be made after it and is called directly. In a patched process no grpc call is ever answered.
"""

import os
import warnings

# The resolver of eventlet breaks on newer dnspython; the system's is fine.
os.environ["EVENTLET_NO_GREENDNS"] = "yes"
# EventletDeprecationWarning cannot be named before it is imported, and it is raised by that import.
warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")

import eventlet

eventlet.monkey_patch()
