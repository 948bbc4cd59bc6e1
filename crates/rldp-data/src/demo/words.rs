//! Word lists of the note generator.

/// A complaint with what is usually found, done and given for it.
pub(super) struct Picture {
    pub(super) complaint: &'static str,
    pub(super) finding: &'static str,
    pub(super) diagnosis: &'static str,
    pub(super) drug: &'static str,
    pub(super) department: &'static str,
}

const fn picture(
    complaint: &'static str,
    finding: &'static str,
    diagnosis: &'static str,
    drug: &'static str,
    department: &'static str,
) -> Picture {
    Picture { complaint, finding, diagnosis, drug, department }
}

pub(super) const PICTURES: &[Picture] = &[
    picture("chest pain on exertion", "ECG without ST changes", "stable angina", "bisoprolol", "Cardiology"),
    picture(
        "palpitations",
        "irregular pulse, ECG: atrial fibrillation",
        "atrial fibrillation",
        "warfarin",
        "Cardiology",
    ),
    picture("swelling of both legs", "pitting oedema, basal crackles", "heart failure", "furosemide", "Cardiology"),
    picture("cough and fever", "crackles at the right base", "pneumonia", "amoxicillin", "Internal medicine"),
    picture(
        "shortness of breath with wheeze",
        "prolonged expiration, wheeze",
        "asthma exacerbation",
        "salbutamol",
        "Pneumology",
    ),
    picture("thirst and weight loss", "capillary glucose raised", "type 2 diabetes", "metformin", "Endocrinology"),
    picture("fatigue", "pale conjunctivae, haemoglobin low", "iron deficiency anaemia", "iron", "Internal medicine"),
    picture("headache with nausea", "no focal deficit", "migraine", "ibuprofen", "Neurology"),
    picture("sudden weakness of the left arm", "left facial droop", "ischaemic stroke", "aspirin", "Neurology"),
    picture(
        "burning on passing urine",
        "urine dip positive for nitrite",
        "urinary infection",
        "nitrofurantoin",
        "Emergency",
    ),
    picture("flank pain", "tender left flank, CT: ureteric stone", "kidney stone", "diclofenac", "Urology"),
    picture("epigastric pain", "tender epigastrium", "gastritis", "omeprazole", "Gastroenterology"),
    picture("painful swollen toe", "red, hot first MTP joint", "gout", "colchicine", "Rheumatology"),
    picture("low mood", "reduced affect, no suicidal thoughts", "depressive episode", "sertraline", "Psychiatry"),
    picture("fall onto the outstretched hand", "tender distal radius", "wrist fracture", "paracetamol", "Orthopaedics"),
    picture(
        "itchy rash on the arms",
        "scaly erythema on both forearms",
        "eczema",
        "hydrocortisone cream",
        "Dermatology",
    ),
];

pub(super) const HISTORIES: &[&str] = &[
    "hypertension",
    "type 2 diabetes",
    "COPD",
    "previous MI",
    "chronic kidney disease stage 3",
    "hypothyroidism",
    "osteoarthritis",
    "no relevant history",
    "penicillin allergy",
    "smoker, 20 pack years",
    "obesity",
    "asthma since childhood",
];

pub(super) const PLANS: &[&str] = &[
    "bloods in the morning",
    "chest x-ray",
    "repeat ECG",
    "physiotherapy",
    "dietitian review",
    "echo as outpatient",
    "IV fluids overnight",
    "analgesia as needed",
    "fluid balance chart",
    "discuss with family",
    "GP to check renal function",
    "home oxygen assessment",
];

pub(super) const COURSES: &[&str] = &[
    "feels better, slept well",
    "still tired, eating little",
    "no new complaints",
    "pain improved",
    "mobilising with help",
    "fever settled",
    "nausea overnight",
    "wants to go home",
];
