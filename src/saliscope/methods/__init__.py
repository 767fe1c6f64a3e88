"""One paper, one file; the catalogue lists names, fields and traits without torch."""

from saliscope.core.protocols import Method
from saliscope.core.registry import Registry

METHODS: Registry[Method] = Registry(
    kind="method",
    table={
        "gradient": "saliscope.methods.gradient.gradient:Gradient",
        "input-x-gradient": "saliscope.methods.gradient.input_x_gradient:InputXGradient",
        "smoothgrad": "saliscope.methods.gradient.smoothgrad:SmoothGrad",
        "integrated-gradients": "saliscope.methods.gradient.integrated_gradients:IntegratedGradients",
        "grad-cam": "saliscope.methods.cam.grad_cam:GradCAM",
        "hirescam": "saliscope.methods.cam.hirescam:HiResCAM",
        "layercam": "saliscope.methods.cam.layercam:LayerCAM",
        "grad-cam++": "saliscope.methods.cam.grad_cam_plus_plus:GradCAMPlusPlus",
        "cam": "saliscope.methods.cam.cam:CAM",
        "xgrad-cam": "saliscope.methods.cam.xgrad_cam:XGradCAM",
        "smooth-grad-cam++": "saliscope.methods.cam.smooth_grad_cam_plus_plus:SmoothGradCAMPlusPlus",
        "layercam-fusion": "saliscope.methods.cam.layercam_fusion:LayerCAMFusion",
        "eigen-cam": "saliscope.methods.cam.eigen_cam:EigenCAM",
        "eigen-grad-cam": "saliscope.methods.cam.eigen_grad_cam:EigenGradCAM",
        "seg-grad-cam": "saliscope.methods.cam.seg_grad_cam:SegGradCAM",
        "seg-hirescam": "saliscope.methods.cam.seg_hirescam:SegHiResCAM",
        "seg-xres-cam": "saliscope.methods.cam.seg_xres_cam:SegXResCAM",
        "ablation-cam": "saliscope.methods.cam.ablation_cam:AblationCAM",
        "score-cam": "saliscope.methods.cam.score_cam:ScoreCAM",
        "recipro-cam": "saliscope.methods.cam.recipro_cam:ReciproCAM",
        "shapley-cam": "saliscope.methods.cam.shapley_cam:ShapleyCAM",
        "finer-cam": "saliscope.methods.cam.finer_cam:FinerCAM",
        "guided-backprop": "saliscope.methods.propagation.guided_backprop:GuidedBackprop",
        "deconvnet": "saliscope.methods.propagation.deconvnet:DeconvNet",
        "guided-grad-cam": "saliscope.methods.propagation.guided_grad_cam:GuidedGradCAM",
        "deeplift": "saliscope.methods.propagation.deeplift:DeepLIFT",
        "lrp": "saliscope.methods.propagation.lrp:LRP",
        "occlusion": "saliscope.methods.perturbation.occlusion:Occlusion",
        "random": "saliscope.methods.control.random:Random",
        "edges": "saliscope.methods.control.edges:Edges",
        "centre": "saliscope.methods.control.centre:Centre",
        "constant": "saliscope.methods.control.constant:Constant",
    },
    group="saliscope.methods",
)
