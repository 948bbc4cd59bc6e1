"""Makes the public corpus that the demo's base model is pretrained on: plain English and health leaflets.

Half of the documents are WordNet's definitions and example sentences (WordNet 3.x, Princeton University, whose licence
stands in NOTICE beside this file); the other half are leaflets that this file writes from a small grammar and word lists,
drawn with a fixed seed. usage: corpus.py WORDNET_DIR OUT.txt [DOCUMENTS] [SEED], where WORDNET_DIR holds data.noun and its
kin (Debian: package wordnet-base, folder /usr/share/wordnet).
"""

import random
import sys

CONDITIONS = """asthma;diabetes;high blood pressure;migraine;pneumonia;bronchitis;heart failure;angina;anaemia;gout;eczema;
epilepsy;depression;anxiety;arthritis;osteoporosis;kidney stones;gastritis;hepatitis;influenza;a urinary infection;
a skin infection;back pain;a sprained ankle;a broken wrist;sinusitis;tonsillitis;a stroke;atrial fibrillation;
chronic kidney disease;thyroid disease;sleep apnoea;glaucoma;an ulcer;a blood clot""".replace("\n", "").split(";")
SYMPTOMS = """cough;fever;chest pain;shortness of breath;headache;dizziness;nausea;vomiting;fatigue;swelling of the legs;
abdominal pain;joint pain;a rash;blurred vision;weight loss;night sweats;palpitations;a sore throat;back pain;
numbness;weakness;loss of appetite;trouble sleeping;itching;thirst""".replace("\n", "").split(";")
DRUGS = """paracetamol;ibuprofen;aspirin;metformin;insulin;amoxicillin;lisinopril;amlodipine;atorvastatin;omeprazole;
salbutamol;prednisolone;furosemide;bisoprolol;warfarin;sertraline;levothyroxine;allopurinol;codeine;ramipril""".replace("\n", "").split(";")
TESTS = """a blood test;a chest x-ray;an ultrasound;an ECG;a urine test;a CT scan;an MRI scan;a lung function test;
an eye examination;a stool sample;a blood pressure check;a blood sugar test""".replace("\n", "").split(";")
PEOPLE = "adults;older people;children;pregnant women;smokers;people with a family history;most people;some patients;women;men".split(";")
STAFF = "doctor;nurse;pharmacist;specialist;physiotherapist;dentist;midwife;general practitioner".split(";")
PLACES = "the clinic;the hospital;the emergency department;the ward;the pharmacy;the practice;home".split(";")
HABITS = """walking every day;stopping smoking;drinking less alcohol;eating more vegetables;losing weight;
sleeping well;drinking enough water;light exercise;resting;a diet low in salt""".replace("\n", "").split(";")
BODY = "heart;lungs;kidneys;liver;stomach;skin;joints;bones;brain;eyes;blood vessels;muscles;throat;back;legs;chest".split(";")
TIMES = "a few days;two weeks;three months;one year;several hours;six weeks;one month;a few minutes;four days".split(";")
DOSES = "once a day;twice a day;three times daily;in the morning;at night;with food;before meals;every six hours".split(";")

TEMPLATES = [
    "{Condition} affects the {body} and can cause {symptom} and {symptom2}.",
    "{People} with {condition} often notice {symptom}, especially at night.",
    "Common signs of {condition} are {symptom}, {symptom2} and {symptom3}.",
    "Your {staff} may ask for {test} to find out whether you have {condition}.",
    "{Drug} is usually taken {dose} for {time}.",
    "Do not take {drug} together with {drug2} unless your {staff} tells you to.",
    "{Habit} can lower the risk of {condition}.",
    "If {symptom} lasts longer than {time}, go to {place}.",
    "In {people} {condition} is seen more often after the age of {age}.",
    "About {number} in {hundred} people have {condition} at some time in their life.",
    "Treatment begins with {drug}; when this is not enough, {drug2} is added.",
    "A normal blood pressure is below {systolic}/{diastolic} at rest.",
    "A temperature above {temperature} degrees is a fever in {people}.",
    "The {staff} will examine your {body} and listen to your {body2}.",
    "Side effects of {drug} include {symptom} and, less often, {symptom2}.",
    "Call for help at once if you have {symptom} with {symptom2}.",
    "What is {condition}? It is a problem of the {body} that may come with {symptom}.",
    "Before {test} you should not eat for {time}.",
    "After {time} most patients can go back to {habit}.",
    "Keep {drug} away from children and return what is left to {place}.",
    "{People} should speak with a {staff} before they stop {drug}.",
    "The patient should be reviewed after {time} with {test}.",
    "A follow up with the {staff} is planned in {time}.",
    "There is no cure for {condition}, but {habit} and {drug} help.",
    "Doctors do not know why {people} get {condition} more often than others.",
    "The heart rate of a healthy adult is between {low} and {high} beats per minute.",
    "With {drug} {dose}, {symptom} improves within {time}.",
]


def sentence(rng):
    symptoms, drugs, body = rng.sample(SYMPTOMS, 3), rng.sample(DRUGS, 2), rng.sample(BODY, 2)
    capital = lambda text: text[0].upper() + text[1:]
    condition, people, habit = rng.choice(CONDITIONS), rng.choice(PEOPLE), rng.choice(HABITS)
    return rng.choice(TEMPLATES).format(
        condition=condition, Condition=capital(condition), people=people, People=capital(people), habit=habit,
        Habit=capital(habit), symptom=symptoms[0], symptom2=symptoms[1], symptom3=symptoms[2], drug=drugs[0],
        Drug=capital(drugs[0]), drug2=drugs[1], body=body[0], body2=body[1], staff=rng.choice(STAFF), test=rng.choice(TESTS),
        place=rng.choice(PLACES), time=rng.choice(TIMES), dose=rng.choice(DOSES), age=rng.randrange(20, 85, 5),
        number=rng.randrange(1, 30), hundred=rng.choice([100, 1000]), systolic=rng.randrange(110, 150, 5),
        diastolic=rng.randrange(70, 95, 5), temperature=f"{rng.uniform(37.5, 39.5):.1f}", low=rng.randrange(50, 70, 5),
        high=rng.randrange(80, 110, 5),
    )


def definitions(wordnet):
    """One line a meaning: the words, what they mean, and examples where WordNet has some."""
    for part in ("noun", "verb", "adj", "adv"):
        with open(f"{wordnet}/data.{part}", encoding="utf-8") as file:
            for line in file:
                if line.startswith("  ") or " | " not in line:
                    continue
                fields, gloss = line.split(" | ", 1)
                fields = fields.split()
                words = [fields[4 + 2 * i].replace("_", " ").split("(")[0] for i in range(int(fields[3], 16))]
                text = gloss.strip().replace('"', "")
                yield f"{', '.join(words[:3])}: {text[:1].upper() + text[1:]}."


def documents(count, seed, wordnet):
    """`count` documents, in turn a leaflet and a few definitions."""
    rng = random.Random(seed)
    glosses = list(definitions(wordnet))
    for index in range(count):
        if index % 2 == 0:
            yield " ".join(sentence(rng) for _ in range(rng.randint(2, 7)))
        else:
            yield " ".join(rng.sample(glosses, 3))


if __name__ == "__main__":
    wordnet, out, *rest = sys.argv[1:]
    count, seed = (int(rest[0]) if rest else 40_000), (int(rest[1]) if len(rest) > 1 else 1)
    with open(out, "w", encoding="utf-8") as file:
        for document in documents(count, seed, wordnet):
            file.write(document + "\n")
