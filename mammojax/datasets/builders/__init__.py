"""One file a data set. A new one is a file here and a line in `BUILDERS`."""

BUILDERS = {
    "phantom": "mammojax.datasets.builders.phantom:Phantom",
    "mias": "mammojax.datasets.builders.mias:Mias",
    "inbreast": "mammojax.datasets.builders.inbreast:Inbreast",
    "folder": "mammojax.datasets.builders.folder:Folder",
}
