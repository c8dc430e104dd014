"""Python runs this at its start when the folder is on PYTHONPATH: exllamav2 will be scripted in this
process."""

import scripted_exllamav2

scripted_exllamav2.install()
