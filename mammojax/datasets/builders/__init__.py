"""One file a data set. A new one is a file here and a line in `BUILDERS`."""

BUILDERS = {
    "phantom": "mammojax.datasets.builders.phantom:Phantom",
    "mias": "mammojax.datasets.builders.mias:Mias",
    "inbreast": "mammojax.datasets.builders.inbreast:Inbreast",
    "cbis_ddsm": "mammojax.datasets.builders.cbis_ddsm:CbisDdsm",
    "vindr_mammo": "mammojax.datasets.builders.vindr_mammo:VindrMammo",
    "cmmd": "mammojax.datasets.builders.cmmd:Cmmd",
    "rsna": "mammojax.datasets.builders.rsna:Rsna",
    "folder": "mammojax.datasets.builders.folder:Folder",
}
