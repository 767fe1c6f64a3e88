"""One paper, one file; the catalogue lists names, fields and traits without torch."""

from saliscope.core.errors import MetricError
from saliscope.core.metric import Metric
from saliscope.core.registry import Registry

METRICS: Registry[Metric] = Registry(
    kind="metric",
    table={
        "pointing-game": "saliscope.metrics.localisation.pointing_game:PointingGame",
        "iou": "saliscope.metrics.localisation.iou:IoU",
        "auprc": "saliscope.metrics.localisation.auprc:AUPRC",
        "auroc": "saliscope.metrics.localisation.auroc:AUROC",
        "relevance-mass": "saliscope.metrics.localisation.relevance_mass:RelevanceMass",
        "relevance-rank": "saliscope.metrics.localisation.relevance_rank:RelevanceRank",
        "region-distance": "saliscope.metrics.localisation.region_distance:RegionDistance",
        "gini": "saliscope.metrics.complexity.gini:Gini",
        "entropy": "saliscope.metrics.complexity.entropy:Entropy",
        "effective-size": "saliscope.metrics.complexity.effective_size:EffectiveSize",
        "spearman": "saliscope.metrics.agreement.spearman:Spearman",
        "pearson": "saliscope.metrics.agreement.pearson:Pearson",
        "top-iou": "saliscope.metrics.agreement.top_iou:TopIoU",
        "feature-agreement": "saliscope.metrics.agreement.feature_agreement:FeatureAgreement",
        "ssim": "saliscope.metrics.agreement.ssim:SSIM",
        "deletion": "saliscope.metrics.fidelity.deletion:Deletion",
        "insertion": "saliscope.metrics.fidelity.insertion:Insertion",
        "infidelity": "saliscope.metrics.fidelity.infidelity:Infidelity",
        "sensitivity-n": "saliscope.metrics.fidelity.sensitivity_n:SensitivityN",
        "mu-fidelity": "saliscope.metrics.fidelity.mu_fidelity:MuFidelity",
        "faithfulness-correlation": "saliscope.metrics.fidelity.faithfulness_correlation:FaithfulnessCorrelation",
        "completeness": "saliscope.metrics.fidelity.completeness:Completeness",
        "average-drop": "saliscope.metrics.fidelity.average_drop:AverageDrop",
        "average-increase": "saliscope.metrics.fidelity.average_drop:AverageIncrease",
        "road": "saliscope.metrics.fidelity.road:ROAD",
        "test-retest": "saliscope.metrics.robustness.test_retest:TestRetest",
        "max-sensitivity": "saliscope.metrics.robustness.max_sensitivity:MaxSensitivity",
        "mprt": "saliscope.metrics.randomisation.mprt:MPRT",
        "efficient-mprt": "saliscope.metrics.randomisation.efficient_mprt:EfficientMPRT",
        "random-logit": "saliscope.metrics.randomisation.random_logit:RandomLogit",
    },
    group="saliscope.metrics",
    error=MetricError,
)
