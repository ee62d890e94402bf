"""Every field with its default; the other configs change a few. Any field is a flag: --config.training.epochs=40.

Values that the paper does not publish (lambda, learning rate, epochs) were chosen once on inner splits of the phantom
and are the same for all arms.
"""

from ml_collections import config_dict


def get_config() -> config_dict.ConfigDict:
    config = config_dict.ConfigDict()
    config.run = "runs/default"  # the run directory: everything a run makes lies in it
    config.seed = 0

    config.data = config_dict.ConfigDict()
    config.data.name = "folder"  # phantom, mias or folder
    config.data.source = ""  # where the files lie, as they were downloaded
    config.data.labels = ""  # the label scheme; "" for the data set's default
    config.data.prepared = ""  # prepared sets; "" for RUN/prepared; share it between runs to prepare once
    config.data.margin = 0.02  # of the breast box, share of its longer side
    config.data.for_processing = "log"  # raw detector images: log (a stated transform) or refuse
    config.data.workers = -1  # processes; -1: one a core
    config.data.strict = False  # a rejected file is an error

    config.data.phantom = config_dict.ConfigDict()
    config.data.phantom.patients = 48  # four images each
    config.data.phantom.prevalence = 0.35  # share of patients with a malignant lesion
    config.data.phantom.height = 2048
    config.data.phantom.width = 1536
    config.data.phantom.difficulty = 0.5  # 0: obvious, 1: invisible

    config.data.folder = config_dict.ConfigDict()
    config.data.folder.csv = ""  # the table's file name; "" for the only one in the folder
    config.data.folder.path = "path"  # names of the table's columns
    config.data.folder.patient = "patient"
    config.data.folder.label = "label"
    config.data.folder.birads = "birads"
    config.data.folder.laterality = "laterality"
    config.data.folder.view = "view"
    config.data.folder.split = "split"
    config.data.folder.keep_split = ""  # only rows with this value in the split column

    config.model = config_dict.ConfigDict()
    config.model.backbone = "efficientnet_lite0"  # the scanning network: efficientnet_lite0, vgg_m
    config.model.weights = ""  # a weights file; "" for the backbone's own
    config.model.tap = ""  # the layer that the representation is taken from; "" for the backbone's default
    config.model.np = 15  # cells a side of the representation
    config.model.max_side = 0  # longest side in pixels that is scanned, larger crops are reduced; 0: no limit
    config.model.precision = "float32"  # of the scanning network's products, or bfloat16; the rest is float32
    config.model.filters = (256, 128, 256)  # the classifier's convolutions
    config.model.hidden = (512, 512)  # its fully connected layers
    config.model.dropout = 0.0

    config.scan = config_dict.ConfigDict()
    config.scan.representations = (
        ""  # the cache; "" for RUN/representations; share it between runs to scan once
    )
    config.scan.cache = "float16"  # the type in which representations are kept: float16, bfloat16 or float32
    config.scan.batch = 0  # images a step; 0: 1 on a CPU, 16 on an accelerator
    config.scan.copies = 1  # representations of each image: 1 plain plus copies - 1 augmented ones
    config.scan.workers = 0  # reading processes; 0 reads with threads

    config.augmentation = config_dict.ConfigDict()
    config.augmentation.flip = 0.5  # probability of an up-down flip (the chest wall stays left)
    config.augmentation.rotation = 8.0  # degrees, +-
    config.augmentation.scaling = 0.1  # +-
    config.augmentation.intensity = 0.1  # contrast +-, brightness +- half of it

    config.loss = config_dict.ConfigDict()
    config.loss.pairs = "buffer"  # batch, buffer (eq. 3) or two_pass
    config.loss.policy = "all"  # of the buffers: all, reservoir or fifo
    config.loss.capacity = 0  # stored scores for reservoir and fifo; 0: one a training sample
    config.loss.surrogate = "logistic"  # logistic (eq. 4), squared_hinge, hinge, square, sigmoid
    config.loss.implementation = "auto"  # materialized, tiled, fast or auto
    config.loss.margin = 0.0
    config.loss.temperature = 1.0
    config.loss.two_pass_batches = 0  # batches a step of two_pass in stage one; 0: a whole epoch

    config.training = config_dict.ConfigDict()
    config.training.epochs = 20
    config.training.batch = 16
    config.training.learning_rate = 3e-4
    config.training.schedule = "cosine"  # constant, cosine or linear
    config.training.warmup = 0.05  # share of the steps
    config.training.clip = 1.0  # largest norm of the gradient; 0: none
    config.training.regularisation = 1e-4  # lambda of lambda/2 ||W||^2
    config.training.evaluate_every = 1  # epochs
    config.training.checkpoint_every = 10  # epochs
    config.training.inner = 5  # one in `inner` training patients selects the epoch and calibrates

    config.finetune = config_dict.ConfigDict()
    config.finetune.epochs = 0  # stage two, both networks merged; 0: none
    config.finetune.batch = 2  # images that are in memory at a time
    config.finetune.microbatches = (
        1  # batches that share one loss (any loss) and make one step; 0: a whole epoch
    )
    config.finetune.learning_rate = 3e-5
    config.finetune.scanning_rate = 0.1  # factor of the learning rate for the scanning network
    config.finetune.frozen = 0  # layers of the scanning network, from the pixels on, that are not trained

    config.crossval = config_dict.ConfigDict()
    config.crossval.folds = 5
    config.crossval.arms = ("resize224_svm", "bce", "weighted_bce", "auc")
    config.crossval.resamples = 2000  # of the bootstrap
    return config
